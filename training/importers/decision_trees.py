"""Other decision trees and classes, as answers of the shared tree."""

#: Galaxy Zoo 2 answers by their number in the published tables (a01 ... a38, Willett et al. 2013).
#: "just noticeable" bulges are small, "obvious" ones moderate or large.
GALAXY_ZOO_2: dict[str, str] = {
    "a01": "smooth-or-featured_smooth",
    "a02": "smooth-or-featured_featured-or-disk",
    "a03": "smooth-or-featured_artifact",
    "a04": "disk-edge-on_yes",
    "a05": "disk-edge-on_no",
    "a06": "bar_strong-or-weak",
    "a07": "bar_no",
    "a08": "has-spiral-arms_yes",
    "a09": "has-spiral-arms_no",
    "a10": "bulge-size_none",
    "a11": "bulge-size_small",
    "a12": "bulge-size_large-or-moderate",
    "a13": "bulge-size_dominant",
    "a15": "odd-feature_none",
    "a16": "how-rounded_round",
    "a17": "how-rounded_in-between",
    "a18": "how-rounded_cigar-shaped",
    "a19": "odd-feature_ring",
    "a20": "odd-feature_lens-or-arc",
    "a21": "odd-feature_disturbed",
    "a22": "odd-feature_irregular",
    "a23": "odd-feature_other",
    "a24": "odd-feature_merger",
    "a38": "odd-feature_dust-lane",
    "a25": "edge-on-bulge_rounded",
    "a26": "edge-on-bulge_boxy",
    "a27": "edge-on-bulge_none",
    "a28": "spiral-winding_tight",
    "a29": "spiral-winding_medium",
    "a30": "spiral-winding_loose",
    "a31": "spiral-arm-count_1",
    "a32": "spiral-arm-count_2",
    "a33": "spiral-arm-count_3",
    "a34": "spiral-arm-count_4",
    "a36": "spiral-arm-count_more-than-4",
    "a37": "spiral-arm-count_cant-tell",
}


#: The Galaxy Zoo 2 answers after which each of its questions is asked, by question number. Question 6
#: ("anything odd?") is asked of everybody who saw a galaxy.
GALAXY_ZOO_2_ASKED_AFTER: dict[str, tuple[str, ...]] = {
    "t01": (),
    "t02": ("a02",),
    "t03": ("a05",),
    "t04": ("a05",),
    "t05": ("a05",),
    "t06": ("a01", "a02"),
    "t07": ("a01",),
    "t08": ("a14",),
    "t09": ("a04",),
    "t10": ("a08",),
    "t11": ("a08",),
}


#: Hard classes: the answers that each implies, and no more.
_SMOOTH = ("smooth-or-featured_smooth",)


_DISK = ("smooth-or-featured_featured-or-disk",)


_FACE_ON_DISK = (*_DISK, "disk-edge-on_no")


_SPIRAL_DISK = (*_FACE_ON_DISK, "has-spiral-arms_yes")


_EDGE_ON = (*_DISK, "disk-edge-on_yes")


GALAXY_ZOO_1_CLASSES: dict[str, tuple[str, ...]] = {
    "elliptical": (*_SMOOTH, "merging_none"),
    "spiral_clockwise": (*_SPIRAL_DISK, "merging_none"),
    "spiral_anticlockwise": (*_SPIRAL_DISK, "merging_none"),
    "spiral": (*_SPIRAL_DISK, "merging_none"),
    # Half of what Galaxy Zoo 1 calls edge-on, Galaxy Zoo 2 calls smooth and cigar-shaped: nobody was asked which.
    "edge_on": ("disk-edge-on_yes", "merging_none"),
    "merger": ("merging_merger", "odd-feature_merger"),
    "unknown": ("smooth-or-featured_artifact",),
}


#: Answers that a volunteer of Galaxy Zoo 1 could give and nobody could deny: who saw a disk without arms had no
#: button to say so, nor who saw another odd feature than a merger.
_UNDENIABLE = ("has-spiral-arms_yes", "odd-feature_merger")


#: What a vote for each class says. A hard class may imply what nobody could deny, being one vote among galaxies that
#: other classes and surveys speak about; as shares of a galaxy's own volunteers such votes would all be for one side.
#: And who voted for edge-on must count as not smooth there, or a galaxy that nine of ten saw edge-on would be smooth
#: by the tenth's vote alone.
GALAXY_ZOO_1_VOTES: dict[str, tuple[str, ...]] = {
    name: tuple(answer for answer in answers if answer not in _UNDENIABLE)
    for name, answers in {**GALAXY_ZOO_1_CLASSES, "edge_on": (*_EDGE_ON, "merging_none")}.items()
}


#: Galaxy10 DECaLS (Leung & Bovy), in the order of its integer classes.
GALAXY10_CLASSES: dict[str, tuple[str, ...]] = {
    "disturbed": ("merging_disturbance",),
    "merging": ("merging_merger",),
    "round_smooth": (*_SMOOTH, "how-rounded_round"),
    "in_between_smooth": (*_SMOOTH, "how-rounded_in-between"),
    "cigar_smooth": (*_SMOOTH, "how-rounded_cigar-shaped"),
    "barred_spiral": (*_SPIRAL_DISK, "bar_strong-or-weak"),
    "unbarred_tight_spiral": (*_SPIRAL_DISK, "bar_no", "spiral-winding_tight"),
    "unbarred_loose_spiral": (*_SPIRAL_DISK, "bar_no", "spiral-winding_loose"),
    "edge_on_without_bulge": (*_EDGE_ON, "edge-on-bulge_none"),
    "edge_on_with_bulge": (*_EDGE_ON, "edge-on-bulge_rounded"),
}


#: Rings among face-on featured galaxies (Walmsley et al. 2022b). "No ring" may have another odd feature,
#: which the shared tree cannot say with one vote, so it counts against "ring" as "none".
RING_CLASSES: dict[str, tuple[str, ...]] = {
    "ring": (*_FACE_ON_DISK, "odd-feature_ring"),
    "no_ring": (*_FACE_ON_DISK, "odd-feature_none"),
}
