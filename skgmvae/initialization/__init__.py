"""Initial responsibilities: representations, candidate clusterings, and the choice among them without labels."""

__all__: list[str] = []
