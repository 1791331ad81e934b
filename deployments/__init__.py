"""What is deployed: one deployment of `train-all` per profile of the catalog."""
