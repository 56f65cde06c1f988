"""What PoisonCAM and PatchSearch share.

scale (parameters by size) -> order (images by content) -> clusters -> a locator (masking) -> flip -> iterate
-> classifier (with augment); base.py strings them together and leaves the parts that differ to its
subclasses.
"""
