"""Hand-written components: each a .py with its .js and .css beside it, no build."""
