// Package image tests the Docker image without Docker: it reads the Dockerfile, builds the root file
// system of the last stage in a folder, and starts its entry point there by chroot as the image's user.
//
// It understands as much of the Dockerfile language as ours uses and fails on the rest, so that a
// new instruction is not passed over. Its nouns are the stage and the instruction.
package image
