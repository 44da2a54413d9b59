// Package faults holds tests of a broker whose disk fails it: one that is full, one without any room, one that may not be
// written to. The broker is the real program, ended with kill -9 in between.
//
// It holds tests only. A full disk is a small file system in memory, mounted for the test, so these need root on Linux and are
// skipped elsewhere. Errors of fsync cannot be made that way: they are in cmd/penstock and storage/badger, where a Store is told to
// fail.
package faults
