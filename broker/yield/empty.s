// Only with a file of this kind in the package does the compiler take a function without a body.
