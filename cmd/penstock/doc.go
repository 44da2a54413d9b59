// Command penstock is the broker and the tools around it in one binary.
//
//	penstock serve         run the broker
//	penstock pub, sub      publish and subscribe, with any broker
//	penstock archive       write what arrives into files
//	penstock forward       send what arrives to HTTP endpoints
//	penstock bench         measure a broker
//	penstock user          accounts in a password file
//	penstock storage       check, measure, back up and restore what a broker keeps on disk
//	penstock channel       see and operate the channels of a running broker
//	penstock config check  look for mistakes in a configuration
//	penstock health        ask a running broker whether it takes clients
//	penstock version       which build this is
//
// It exits with 0 when all went well, 1 when something failed, and 2 when the command line or
// the configuration is wrong; what is wrong is one line on standard error.
//
// This package only wires: a file for each command turns flags into options of the
// packages that do the work. It is tested by running the commands in the
// process, and as a binary by the tests in test/.
package main
