"""The heads that come with Benchtop, trained again: ``python -m core.training.heads NAME --data DIR --out FOLDER``.

What is covered: reading the public data, the mixtures, training (by ``core.training.trainer``), figures on the data
that is held out, and a folder of assets with its card. What is not: downloading the data, and other bases than MiniLM.
"""
