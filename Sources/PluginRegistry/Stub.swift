// Stub: replaced by the module's author.
