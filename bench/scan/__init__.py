"""`bench scan`: a folder of images without labels or truth, searched for a trigger.

files (`listing`, `reading`) -> encoder (`encoders`) -> a defense's verdict -> `evidence` -> decision (`decide`)
-> page and lists (`report`). What takes time is a stage in the store, so that a killed scan resumes (`scan`).
"""
