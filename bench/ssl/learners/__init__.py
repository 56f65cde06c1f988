"""The modules that the methods train. Apart from the methods' options, which are read without torch."""
