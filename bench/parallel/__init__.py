"""How is work shared out? Rows computed in spans by several processes, devices or machines, and joined in order."""
