"""Small models trained on equal terms: full batch against mini-batches against single examples.

The functions and classes in ``tables``, ``texts``, ``models``, ``batches`` and ``loop`` need nothing but NumPy,
scikit-learn and PyTorch, and none of them knows of events: the lab's exported script is made of their very source.
"""
