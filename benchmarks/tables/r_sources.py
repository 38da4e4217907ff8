"""Tables of R's packages: which columns name the groups, and which are not used."""

from typing import NamedTuple

__all__ = ["CONTINUOUS", "FURTHER", "MIXED", "TABLES", "Source"]


class Source(NamedTuple):
    """A table of a package, the columns that name the group of a sample, and those that are not used.

    Of some tables, only numeric columns of many different values are used.
    """

    package: str
    item: str
    groups: tuple[str, ...]
    unused: tuple[str, ...] = ()
    only_continuous: bool = False


def _continuous(package: str, item: str, group: str, *unused: str) -> Source:
    return Source(package, item, (group,), unused, only_continuous=True)


CONTINUOUS = {
    "athletes": Source("DAAG", "ais", ("sex",), ("sport",)),
    "bodies": Source("openintro", "bdims", ("sex",)),
    "blue jays": Source("Stat2Data", "BlueJays", ("KnownSex",), ("BirdID", "Sex")),
    "cells": Source("modeldata", "cells", ("class",), ("case",)),
    "colleges": Source("ISLR", "College", ("Private",)),
    "crabs, four kinds": Source("MASS", "crabs", ("sp", "sex"), ("index",)),
    "cuckoos": Source("DAAG", "cuckoos", ("species",), ("id",)),
    "diabetes": Source("heplots", "Diabetes", ("group",)),
    "football": Source("heplots", "FootHead", ("group",)),
    "leaves": Source("DAAG", "leafshape", ("arch",), ("bladelen", "petiole", "bladewid", "latitude", "location")),
    "oils": Source("modeldata", "oils", ("class",)),
    "olive oils, 3 regions": Source("dslabs", "olive", ("region",), ("area",)),
    "olive oils, 9 areas": Source("dslabs", "olive", ("area",), ("region",)),
    "pitches": Source(
        "Stat2Data",
        "Kershaw",
        ("PitchType",),
        (
            *("BatterNumber", "Outcome", "Class", "Result", "Swing", "Time", "Zone", "Nasty", "Count", "BallCount"),
            *("StrikeCount", "Inning", "InningSide", "Outs", "BatterHand", "ABEvent", "Batter", "HPos", "VPos"),
        ),
    ),
    "possums": Source("DAAG", "possum", ("Pop",), ("case", "site", "sex", "age")),
    "tissues": Source("dslabs", "tissue_gene_expression", ("y",)),
}
MIXED = {
    "athletes and sports": Source("DAAG", "ais", ("sex",)),
    "cars, origin": Source("ISLR", "Auto", ("origin",), ("name",)),
    "cars, drive": Source("ggplot2", "mpg", ("drv",), ("manufacturer", "model", "class")),
    "cars of 1993, type": Source("MASS", "Cars93", ("Type",), ("Manufacturer", "Model", "Make")),
    "crabs and sexes": Source("MASS", "crabs", ("sp",), ("index",)),
    "hawks": Source(
        "Stat2Data",
        "Hawks",
        ("Species",),
        ("Month", "Day", "Year", "CaptureTime", "ReleaseTime", "BandNumber"),
    ),
    "players, position": Source(
        "wooldridge",
        "nbasal",
        ("guard", "forward", "center"),
        ("lwage", "expersq", "agesq", "marrblck", "avgmin", "draft"),
    ),
    "possums and sexes": Source("DAAG", "possum", ("Pop",), ("case", "site")),
    "professors, rank": Source("carData", "Salaries", ("rank",)),
    "scat": Source("modeldata", "scat", ("Species",), ("Year",)),
    "students, sex": Source("MASS", "survey", ("Sex",)),
    "credit": Source("modeldata", "credit_data", ("Status",)),
    "lung cancer, cell type": Source("survival", "veteran", ("celltype",)),
    "mail, spam": Source("openintro", "email", ("spam",), ("time",)),
    "passengers, survived": Source("vcdExtra", "Titanicp", ("survived",)),
    "vote of 1988": Source("carData", "Chile", ("vote",)),
    "vote of 1997": Source("carData", "BEPS", ("vote",)),
}
FURTHER = {  # chosen and measured after the rules
    "backpacks": _continuous("Stat2Data", "Backpack", "Sex", "Ratio"),
    "batters": _continuous("openintro", "mlb_players_18", "position"),
    "births": _continuous("openintro", "births14", "premie"),
    "caterpillars": _continuous(
        *("Stat2Data", "Caterpillars", "Instar", "LogMass", "LogIntake", "LogWetFrass", "LogDryFrass", "LogCassim"),
        *("LogNfrass", "LogNassim"),
    ),
    "children": _continuous("Stat2Data", "Kids198", "Sex"),
    "cognition": _continuous("heplots", "NeuroCog", "Dx", "Age"),
    "counties": _continuous("ggplot2", "midwest", "inmetro", "PID"),
    "countries, continent": _continuous("gapminder", "gapminder", "continent", "year"),
    "countries, group": _continuous("carData", "UN", "group"),
    "countries, region": _continuous("carData", "UN98", "region"),
    "departments": _continuous("HistData", "Guerry", "Region", "dept"),
    "drinks": _continuous("openintro", "starbucks", "type"),
    "fast food": _continuous("openintro", "fastfood", "restaurant"),
    "fielders": _continuous("vcd", "Hitters", "Positions"),
    "forests": _continuous("heplots", "Oslo", "forest", "site", "XC", "YC", "altitude"),
    "heights and weights": _continuous("carData", "Davis", "sex", "repwt", "repht"),
    "leaves, 32 species": _continuous("modeldata", "leaf_id_flavia", "species"),
    "mammals": _continuous("ggplot2", "msleep", "vore", "awake"),
    "melanoma": _continuous("boot", "melanoma", "ulcer"),
    "metabolism": _continuous("Stat2Data", "MetabolicRate", "Instar", "LogBodySize", "LogMrate"),
    "occupations": _continuous("carData", "Prestige", "type", "census"),
    "processors": _continuous("openintro", "cpu", "company"),
    "races": _continuous("DAAG", "races2000", "type"),
    "rocks": _continuous("heplots", "Oslo", "litho", "site", "XC", "YC"),
    "skulls": _continuous("heplots", "Skulls", "epoch"),
    "towns": _continuous(
        *("gt", "towny", "status", "latitude", "longitude", "density_2001", "density_2006", "density_2011"),
        *("density_2016", "pop_change_1996_2001_pct", "pop_change_2001_2006_pct", "pop_change_2006_2011_pct"),
        *("pop_change_2011_2016_pct", "pop_change_2016_2021_pct"),
    ),
    "urine": _continuous("boot", "urine", "r"),
    "weather": _continuous("mosaicData", "Weather", "city", "year"),
}
TABLES = {**CONTINUOUS, **FURTHER, **MIXED}
