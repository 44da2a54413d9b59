//go:build unix

package bench

import "syscall"

// raiseFileLimit lets this process, and those it starts, open as many sockets as the system
// allows. Where that is too few, opening one fails and says so.
func raiseFileLimit() {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
		// Go has raised its own already, but gives children the old one unless a program sets it itself.
		limit.Cur = limit.Max
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	}
}
