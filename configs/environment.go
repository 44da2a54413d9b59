package configs

import (
	"slices"
	"strings"
)

const environmentPrefix = "PENSTOCK_"

// variable is the name of the environment variable that sets a key.
func variable(key string) string {
	return environmentPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// fromEnvironment finds the settings in environ, sorted by name. A name that starts
// like a section of the configuration and is no key is a mistake. Others
// are left alone: they may belong to something else.
func fromEnvironment(environ []string) ([]Flag, error) {
	variables := make(map[string]string, len(settings))
	for _, s := range settings {
		variables[variable(s.key)] = s.key
	}
	var found []Flag
	for _, entry := range slices.Sorted(slices.Values(environ)) {
		name, value, _ := strings.Cut(entry, "=")
		key, ok := variables[name]
		switch {
		case ok:
			found = append(found, Flag{Name: name, Key: key, Value: value})
		case namesSection(name) && !isServiceLink(name):
			return nil, &Error{Where: name, Text: unknownVariable(name)}
		}
	}
	return found, nil
}

func unknownVariable(name string) string {
	known := make([]string, len(settings))
	for i, s := range settings {
		known[i] = variable(s.key)
	}
	if s := nearest(strings.ToLower(name), lower(known)); s != "" {
		return "unknown variable; did you mean " + strings.ToUpper(s) + "?"
	}
	return "unknown variable; expected " + environmentPrefix + " and a key of the configuration"
}

func lower(words []string) []string {
	lowered := make([]string, len(words))
	for i, w := range words {
		lowered[i] = strings.ToLower(w)
	}
	return lowered
}

// namesSection reports whether a variable starts like those of the keys in a section.
func namesSection(name string) bool {
	for _, s := range settings {
		section, _, nested := strings.Cut(s.key, ".")
		if nested && strings.HasPrefix(name, variable(section)+"_") {
			return true
		}
	}
	return false
}

// isServiceLink reports whether Kubernetes or Docker set the variable for a
// service called penstock-admin or the like: PENSTOCK_ADMIN_SERVICE_HOST, PENSTOCK_ADMIN_PORT_9883_TCP.
func isServiceLink(name string) bool {
	_, rest, _ := strings.Cut(strings.TrimPrefix(name, environmentPrefix), "_")
	return rest == "PORT" || strings.HasPrefix(rest, "PORT_") || strings.HasPrefix(rest, "SERVICE_")
}
