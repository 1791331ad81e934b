"""Scores of two or more models on the same rows: published data as ranks, and made ones."""

import numpy as np

# 113 patients with a bleeding in the brain (Turck et al. 2010, Intensive Care Medicine 36): of each the ranks of three
# predictors, WFNS / S100B / NDKA, equal values with equal ranks. AUROC and DeLong's test know ranks only.
POOR = """
0/4/99 0/5/106 1/4/96 1/4/86 1/6/97 1/6/69 1/7/60 1/7/32 1/8/87 1/11/98 1/20/24 1/24/47 1/30/37
1/41/51 2/10/81 3/10/5 3/13/65 3/18/92 3/21/75 3/22/88 3/36/89 3/43/23 3/48/16 4/0/54 4/9/77 4/17/6
4/25/72 4/26/104 4/28/71 4/32/4 4/32/76 4/37/48 4/39/1 4/40/31 4/42/62 4/43/27 4/44/49 4/45/40
4/46/102 4/47/68 4/49/108
"""
GOOD = """
0/1/41 0/1/66 0/1/79 0/1/58 0/2/105 0/2/19 0/3/18 0/3/52 0/4/9 0/4/12 0/4/20 0/4/53 0/5/15 0/5/42
0/5/2 0/5/56 0/6/103 0/6/21 0/6/11 0/6/74 0/7/22 0/7/94 0/7/84 0/7/101 0/8/30 0/8/17 0/10/0 0/10/107
0/11/26 0/11/83 0/11/62 0/12/91 0/13/64 0/15/75 0/16/61 0/36/67 0/38/14 1/1/78 1/4/46 1/5/85 1/5/29
1/6/57 1/6/33 1/7/8 1/7/82 1/7/95 1/8/10 1/8/59 1/10/63 1/11/90 1/12/38 1/12/25 1/12/93 1/13/44
1/14/55 1/16/28 1/31/73 2/2/34 2/4/50 2/26/80 3/13/35 3/14/70 3/23/29 3/25/45 3/27/3 3/29/43
3/33/100 3/35/39 4/19/36 4/34/32 4/35/7 4/38/13
"""
WFNS, S100B, NDKA = 0, 1, 2

# Magnetic resonance angiograms of 65 carotid arteries of 36 patients (Masaryk et al. 1991, Radiology 179): of each
# artery whether it is stenosed, and the ranks of two readers' measures. The arteries of a patient stand together.
ARTERIES = """
+38/40,+35/37 +39/46,+42/45 +45/50,+29/35 +28/28,+40/43 +44/48,+45/50 +45/49,+40/41 +34/34 +41/42,-22/24
+40/44,-4/7 +42/43,-17/16 +42/47,-14/0 +45/50,-15/11 +32/33 -30/32,+30/36 -16/20,+37/45 -9/14,+28/31
-13/18,+45/50 -33/35,+43/47 -21/26,+45/50 -31/30,+44/46 +36/39 -27/27,+45/49 -7/12,+45/50 -6/9,-9/10
-23/11,-0/1 -2/17,-32/38 -12/6,-8/9 -5/5 -19/22,-23/21 -20/23,-11/13 -26/18,-26/25 -11/2,-3/4
-24/19,-18/15 -25/29 -10/8 -1/3
"""


def bleedings():
    """Outcomes (113,), and ranks of the three predictors (3, 113), scaled to 0-1."""
    poor, good = (np.array([row.split("/") for row in text.split()], dtype=float) for text in (POOR, GOOD))
    return np.repeat([1, 0], [len(poor), len(good)]), np.vstack([poor, good]).T / 200


def arteries():
    """Labels (65,), patients (65,) and scores of two readers (2, 65); a patient may have arteries of both kinds."""
    patients = [patient.split(",") for patient in ARTERIES.split()]
    labels = [int(one[0] == "+") for patient in patients for one in patient]
    scores = np.array([one[1:].split("/") for patient in patients for one in patient], dtype=float).T / 100
    return np.array(labels), np.repeat(np.arange(36), [len(patient) for patient in patients]), scores


def rows(n, *, patients, models=2, seed=0, shift=1.0, decimals=2, own_label=False):
    """Labels, patients and scores with ties; images of a patient resemble each other, and may differ in label."""
    random = np.random.default_rng(seed)
    groups = random.integers(0, patients, n)
    labels = (groups % 2 if own_label else random.integers(0, 2, n)).astype(int)
    labels[:4], groups[:4] = [0, 0, 1, 1], [0, 2, 1, 3]
    shared = random.normal(size=patients)[groups] + random.normal(size=n)
    logits = (
        shift * labels
        + shared
        + random.normal(size=(models, patients))[:, groups]
        + random.normal(size=(models, n))
    )
    return labels, groups, (1 / (1 + np.exp(-logits))).round(decimals)
