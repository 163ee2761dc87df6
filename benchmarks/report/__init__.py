"""Tables, bars and pictures made from a results file."""
