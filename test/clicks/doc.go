// Package clicks plays the case that channels are made for: one topic, clicks, with three channels, each of which
// gets every message: metrics and spam, whose messages are shared by several workers, and archive, which "penstock archive" writes into files.
// Every process is a real one, and workers are ended with kill -9 at random while the messages come.
//
// In the end every message must be in the journal of a worker of each channel, and in a finished file of the archive. It may be there twice
// only if a worker died after it had taken it down and before its acknowledgement was read: then it is among the last
// that this worker took, as many as may be in flight.
//
// Its nouns are the worker (a process), the journal (what one life of a worker took down, in order) and the channel.
// CLICKS is the number of messages; the seed is printed, and taken back from PENSTOCK_SEED.
package clicks
