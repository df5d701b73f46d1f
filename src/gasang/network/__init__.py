"""Networks that machines share: addresses, bridges, names, translation and publishing."""
