"""`--watch`: a build again whenever something changes that it is made of."""
