// Vault as it is with its own build tag "minimal", which leaves the Kubernetes auth method out: that is put back here.
package main

import (
	"os"
	"reflect"
	"unsafe"

	kubernetes "github.com/hashicorp/vault-plugin-auth-kubernetes"
	"github.com/hashicorp/vault/command"
	"github.com/hashicorp/vault/helper/builtinplugins"
	"github.com/hashicorp/vault/sdk/logical"
)

func main() {
	// The map of what is built in has no exported name, and nothing that adds to it.
	field := reflect.ValueOf(builtinplugins.Registry).Elem().FieldByName("credentialBackends")
	known := reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem()
	backend := reflect.New(known.Type().Elem()).Elem()
	backend.FieldByName("Factory").Set(reflect.ValueOf(logical.Factory(kubernetes.Factory)))
	known.SetMapIndex(reflect.ValueOf("kubernetes"), backend)
	os.Exit(command.Run(os.Args[1:]))
}
