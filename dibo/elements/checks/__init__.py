"""Whether elements run here unchanged, judged by what they hold; nothing of them is run.

shell_commands   the commands in a script, by a tokenizer
scripts          what the commands of one script need that a sandbox does not have, or a cache does not notice
files            the other files of an element
check            both for whole elements, with what they depend on
"""
