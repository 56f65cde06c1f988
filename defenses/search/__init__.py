"""What PoisonCAM and PatchSearch share.

defaults (parameters by size) -> clusters -> a locator (masking, gradcam) -> flip_test -> iterate -> classifier (with
augment); search.py strings them together and leaves the parts that differ to its subclasses.
"""
