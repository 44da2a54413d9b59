// Package archive writes messages into files, and lets the broker forget a message only when it is on disk.
//
// Messages are written in groups: each group is fsynced, and then acknowledged as a whole. A file that
// is being written has a name that ends in .part-text, .part-json or .part-gzip and is locked; when it is finished it gets
// its name, and is never touched again. What a killed process left behind is repaired by the next one that starts: a torn end,
// which nobody had acknowledged, is cut off. It does not connect to a broker: deliveries come from package client.
//
// Its nouns are the Archive (which sorts messages into files and decides when they are safe), the output (one file being
// written), the Names (what files are called) and the Format (what a message looks like in them). It is tested with failing
// files, with torn files of every length, and by killing the program that uses it.
package archive
