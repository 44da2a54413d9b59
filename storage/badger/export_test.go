package badger

// Restless makes a store do all the time what could wait.
func Restless(o Options) Options {
	o.tuning = restless
	return o
}
