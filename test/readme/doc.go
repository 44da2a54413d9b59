// Package readme tests that README.md is true: its commands and programs are run against a broker, its links lead
// somewhere, and the functions it names exist.
//
// It knows nothing of the broker but its command line. Its noun is the block: a piece of the page between fences, in
// the language that its fence names. Each block runs against a broker of its own, started on ports that were
// free; the addresses on the page are replaced by those. A library that is missing fails its block where CI=true and
// skips it elsewhere; "make setup" installs them all.
package readme
