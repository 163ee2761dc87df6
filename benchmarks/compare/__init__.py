"""Side-by-side timing of cholax and its peers: one process per engine, driven turn by turn."""
