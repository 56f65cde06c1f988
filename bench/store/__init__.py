"""Where do results lie? Finished stages and records on disk, each under the hash of everything that decided it."""
