"""Answers of the decision tree in words that stand without their questions."""

WORDS = {
    "smooth-or-featured_featured-or-disk": "featured",
    "disk-edge-on_yes": "edge-on",
    "disk-edge-on_no": "face-on",
    "has-spiral-arms_yes": "spiral arms",
    "has-spiral-arms_no": "no arms",
    "bar_strong": "strong bar",
    "bar_weak": "weak bar",
    "bar_no": "no bar",
    **{f"bulge-size_{size}": f"{size} bulge" for size in ("dominant", "large", "moderate", "small")},
    "bulge-size_none": "no bulge",
    "edge-on-bulge_boxy": "boxy bulge",
    "edge-on-bulge_none": "no bulge",
    "edge-on-bulge_rounded": "rounded bulge",
    **{f"spiral-winding_{winding}": f"{winding} winding" for winding in ("tight", "medium", "loose")},
    "spiral-arm-count_1": "1 arm",
    **{f"spiral-arm-count_{n}": f"{n} arms" for n in (2, 3, 4)},
    "spiral-arm-count_more-than-4": "more than 4 arms",
    "spiral-arm-count_cant-tell": "uncounted arms",
    "merging_none": "not merging",
    "odd-feature_none": "nothing odd",
    "odd-feature_other": "something odd",
    "odd-feature_lens-or-arc": "lens or arc",
    "odd-feature_dust-lane": "dust lane",
    "merging_minor-disturbance": "slightly disturbed",
    "merging_major-disturbance": "strongly disturbed",
}

#: Answers that say that nothing is there; a list of answers is shorter without them.
NOTHING = {"merging_none", "odd-feature_none"}


def word(question: str, answer: str) -> str:
    """An answer in words that stand without their question."""
    return WORDS.get(f"{question}_{answer}", answer)
