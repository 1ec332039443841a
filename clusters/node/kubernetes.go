// Every command of a Kubernetes node in one binary, chosen by the name that it is called by.
// Called by another name, it takes the command from its first argument: kubernetes kubelet --version
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	manager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubeadm "k8s.io/kubernetes/cmd/kubeadm/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

func main() {
	commands := map[string]func() *cobra.Command{
		"kube-apiserver":          apiserver.NewAPIServerCommand,
		"kube-controller-manager": manager.NewControllerManagerCommand,
		"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
		"kube-proxy":              proxy.NewProxyCommand,
		"kubelet":                 kubeletCommand,
		"kubectl":                 kubectl.NewDefaultKubectlCommand,
		"kubeadm":                 nil,
	}
	name := filepath.Base(os.Args[0])
	if _, known := commands[name]; !known && len(os.Args) > 1 {
		os.Args = os.Args[1:]
		name = os.Args[0]
	}
	command, known := commands[name]
	switch {
	case !known:
		fmt.Fprintln(os.Stderr, "no such Kubernetes command:", name)
		os.Exit(2)
	case command == nil: // kubeadm makes its command itself
		if err := kubeadm.Run(); err != nil {
			os.Exit(1)
		}
	default:
		os.Exit(cli.Run(command()))
	}
}

// The kubelet of newer versions wants a context, that of older ones nothing.
func kubeletCommand() *cobra.Command {
	switch make := any(kubelet.NewKubeletCommand).(type) {
	case func() *cobra.Command:
		return make()
	case func(context.Context) *cobra.Command:
		return make(context.Background())
	}
	panic("this kubelet wants something else")
}
