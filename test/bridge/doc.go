// Package bridge tests bridges as a whole: brokers with bridges between them, in one process, against foreign brokers, as processes
// that are killed, and in network namespaces whose links are cut.
package bridge
