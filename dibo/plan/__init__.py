"""What would be built, and why: recipe, keys, plan.

For others: `recipe.make_recipe` (steps in order, with all that each sees), `keys` (the ingredients of a layer and their
digest), `plan.make_plan` (which layers are held), `explain` (why one is missing), `base` (what a base says of itself).
All of it is pure: no clock, environment, disk or network, so that `dibo plan` shows what a build does.
"""
