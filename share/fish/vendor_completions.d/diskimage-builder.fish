# Completion of dibo and its programs, loaded by fish at the first Tab.
dibo completion fish | source
