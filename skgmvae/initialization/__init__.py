"""Initial clusters, chosen without labels among candidates of several methods."""
