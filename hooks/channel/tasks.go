package channel

import "sync"

// A taskGroup is the goroutines of the hook. None begins after wait.
type taskGroup struct {
	mu      sync.Mutex // guards stopped, and running against being added to while it is waited for
	stopped bool
	running sync.WaitGroup
}

// start runs f on a goroutine of its own, and reports false if the hook has stopped.
func (g *taskGroup) start(f func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		return false
	}
	g.running.Go(f)
	return true
}

// wait lets no more begin and waits for those that run.
func (g *taskGroup) wait() {
	g.mu.Lock()
	g.stopped = true
	g.mu.Unlock()
	g.running.Wait()
}
