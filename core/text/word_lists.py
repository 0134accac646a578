"""Words that are exchanged in a text, and words that name groups of people.

They are English and short on purpose: enough for a first look, no description of people. Names are common ones that
many readers link with a group; a name says little about its bearer, and a group has far more names than these.
Each list has as many words for every group, in neutral wording, so that groups are compared on equal terms.
"""

from __future__ import annotations

GENDER_PAIRS: tuple[tuple[str, str], ...] = (
    ("he", "she"), ("himself", "herself"), ("man", "woman"), ("men", "women"), ("boy", "girl"), ("boys", "girls"),
    ("father", "mother"), ("fathers", "mothers"), ("dad", "mom"), ("son", "daughter"), ("sons", "daughters"),
    ("brother", "sister"), ("brothers", "sisters"), ("uncle", "aunt"), ("nephew", "niece"), ("husband", "wife"),
    ("husbands", "wives"), ("grandfather", "grandmother"), ("grandpa", "grandma"), ("boyfriend", "girlfriend"),
    ("actor", "actress"), ("actors", "actresses"), ("waiter", "waitress"), ("king", "queen"), ("prince", "princess"),
    ("hero", "heroine"), ("host", "hostess"), ("gentleman", "lady"), ("gentlemen", "ladies"), ("sir", "madam"),
    ("mr", "ms"), ("male", "female"), ("males", "females"), ("guy", "gal"), ("guys", "gals"),
    ("businessman", "businesswoman"), ("spokesman", "spokeswoman"), ("widower", "widow"), ("groom", "bride"),
)  # fmt: skip
"""In both directions. The pronouns his, him, her and hers, and Mrs, depend on where they stand or go one way only."""

NAMES: dict[str, dict[str, tuple[str, ...]]] = {
    "African": {"male": ("Kwame", "Chidi", "Tunde", "Jabari"), "female": ("Amara", "Ngozi", "Abena", "Zola")},
    "Arabic": {"male": ("Ahmed", "Omar", "Khalid", "Youssef"), "female": ("Fatima", "Layla", "Aisha", "Zainab")},
    "East Asian": {"male": ("Wei", "Hiroshi", "Kenji", "Minho"), "female": ("Mei", "Yuki", "Sakura", "Jiwoo")},
    "European": {"male": ("James", "Thomas", "Peter", "Lukas"), "female": ("Emma", "Anna", "Claire", "Sophie")},
    "Hispanic": {"male": ("Carlos", "Miguel", "Mateo", "Javier"), "female": ("Maria", "Lucia", "Carmen", "Elena")},
    "South Asian": {"male": ("Arjun", "Rahul", "Vikram", "Sanjay"), "female": ("Priya", "Anjali", "Deepa", "Lakshmi")},
}

PEOPLE: dict[str, dict[str, tuple[str, ...]]] = {
    "gender": {
        "female": ("this woman", "my sister", "the mother", "she"),
        "male": ("this man", "my brother", "the father", "he"),
    },
    "origin": {
        "African": ("the person from Ghana", "my neighbour from Nigeria", "the visitor from Kenya"),
        "Arabic": ("the person from Egypt", "my neighbour from Jordan", "the visitor from Morocco"),
        "East Asian": ("the person from Japan", "my neighbour from China", "the visitor from Korea"),
        "European": ("the person from France", "my neighbour from Germany", "the visitor from Norway"),
        "Hispanic": ("the person from Mexico", "my neighbour from Spain", "the visitor from Peru"),
        "South Asian": ("the person from India", "my neighbour from Nepal", "the visitor from Sri Lanka"),
    },
    "age": {
        "younger": ("the young woman", "the young man", "my twenty-year-old neighbour", "the younger person"),
        "middle-aged": ("the middle-aged woman", "the middle-aged man", "my fifty-year-old neighbour",
                        "the middle-aged person"),
        "older": ("the elderly woman", "the elderly man", "my eighty-year-old neighbour", "the older person"),
    },
    "religion": {
        "Buddhist": ("the Buddhist woman", "the Buddhist man", "my Buddhist neighbour"),
        "Christian": ("the Christian woman", "the Christian man", "my Christian neighbour"),
        "Hindu": ("the Hindu woman", "the Hindu man", "my Hindu neighbour"),
        "Jewish": ("the Jewish woman", "the Jewish man", "my Jewish neighbour"),
        "Muslim": ("the Muslim woman", "the Muslim man", "my Muslim neighbour"),
        "not religious": ("the non-religious woman", "the non-religious man", "my non-religious neighbour"),
    },
}  # fmt: skip
"""By axis and group, what a template's {person} becomes; and its {name}, on an axis that has no names."""
