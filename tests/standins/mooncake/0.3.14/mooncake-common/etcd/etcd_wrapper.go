// Stand-in for Mooncake's etcd client: it reaches no server.
package main

import "C"

import etcdclient "example.test/standin/etcdclient/v3"

//export mooncake_standin_etcd
func mooncake_standin_etcd(endpoints *C.char) C.int {
	if endpoints != nil && etcdclient.Reach(C.GoString(endpoints)) {
		return 1
	}
	return 0
}

func main() {}
