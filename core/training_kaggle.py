"""Kaggle as the cloud of one training: the calls of ``training.kaggle``, with what they need.

Signs in with the first call, so that a network that is away then only delays, too.
"""
