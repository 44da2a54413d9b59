package configs

import "reflect"

// live are the keys whose new value a running broker can take.
var live = map[string]bool{
	"log.level": true,
	"bridges":   true,
	"channels":  true, // hooks/channel names what of a channel is not
}

// Diff names the keys whose values differ: those that a running broker can take over, and those that need a restart.
//
// What the files hold that a configuration names (certificates, accounts, rules) is no part of
// it: a running broker re-reads them whether or not a key changed. Another
// name for one of them needs a restart.
func Diff(old, new Config) (reloadable, needsRestart []string) {
	for _, s := range settings {
		switch {
		case reflect.DeepEqual(valueAt(old, s.key), valueAt(new, s.key)):
		case live[s.key]:
			reloadable = append(reloadable, s.key)
		default:
			needsRestart = append(needsRestart, s.key)
		}
	}
	return reloadable, needsRestart
}
