// Package tidy keeps the countable rules of how Penstock is written: package
// docs, import arrows, sizes, names, and what must not appear at all.
//
// It holds tests only. Each reads the whole tree with go/parser; what a rule
// means is in the rule's own comment, and every rule is itself tested on
// source that breaks it (rules_test.go). Sizes are a ratchet: what was too large when it was
// written stands with its number in testdata/exceptions.tsv, and a
// number there may only shrink.
package tidy
