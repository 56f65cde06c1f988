"""What happens in a run? Its stages, from poisoning to the last evaluation, and the loop that makes what is missing."""
