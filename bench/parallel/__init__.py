"""How is work shared out? Rows computed in parts by several processes, devices or machines, and joined in order."""
