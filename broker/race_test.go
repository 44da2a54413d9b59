//go:build race

package broker

// raceEnabled tells that the test was built with -race.
const raceEnabled = true
