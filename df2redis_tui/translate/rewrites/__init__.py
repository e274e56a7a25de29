"""Journal commands that this target needs in another form, by family; each family's TABLE maps name → rewrite.

A rewrite takes the Rewriter and the record's argv and emits any number of commands. Those in a `TABLE` may rely on
`args[1]` being a key that is free to be written; those in a `TABLE_OF_MANY` look after their keys themselves.
"""
