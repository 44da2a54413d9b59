//go:build !race

package badger_test

// raceEnabled tells that the test was built with -race.
const raceEnabled = false
