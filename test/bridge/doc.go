// Package bridge tests bridges as a whole: brokers with bridges between them, in one process, against foreign brokers, as processes
// that are killed under load, and in network namespaces whose links are cut.
//
// It knows of the broker what cmd/penstock knows, and of its processes only their addresses. Its nouns are the node (a broker in
// this process), the process (one that can be killed), the user (a client), the collector (one that outlives its broker) and the
// proxy (a link that can be cut). FAULTS and BACKLOG make the long tests longer; see the Makefile.
package bridge
