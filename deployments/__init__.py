"""What a Prefect server is told: which flows can be started by name, with which parameters, and when by themselves."""
