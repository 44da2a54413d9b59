//go:build race

package broker

// raceEnabled tells that the program was built with -race.
const raceEnabled = true
