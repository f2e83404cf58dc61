// What a Java client of Kylin's kind sees and writes, with the real Curator. Run as a single source file; the package is the one
// whose name stands in the payloads, so that ZookeeperInstance below is found under it.
package org.springframework.cloud.zookeeper.discovery;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.retry.ExponentialBackoffRetry;
import org.apache.curator.x.discovery.ServiceDiscovery;
import org.apache.curator.x.discovery.ServiceDiscoveryBuilder;
import org.apache.curator.x.discovery.ServiceInstance;
import org.apache.curator.x.discovery.UriSpec;
import org.apache.curator.x.discovery.details.JsonInstanceSerializer;

/** usage: Probe ZK spring|map BASE [NAME ID ADDRESS PORT]: lists BASE, or registers and stays until its input ends. */
class Probe {
    public static void main(String[] a) throws Exception {
        // A class of a single source file is known to its own loader only; Jackson asks this one.
        Thread.currentThread().setContextClassLoader(Probe.class.getClassLoader());
        CuratorFramework client = CuratorFrameworkFactory.builder().connectString(a[0]).sessionTimeoutMs(4000)
            .connectionTimeoutMs(3000).retryPolicy(new ExponentialBackoffRetry(100, 5)).build();
        client.start();
        if (!client.blockUntilConnected(20, TimeUnit.SECONDS)) throw new Exception("no connection");
        if (a[1].equals("spring")) {
            Map<String, String> metadata = new LinkedHashMap<>();
            metadata.put("instance_status", "UP");
            run(client, a, ZookeeperInstance.class,
                a.length > 3 ? new ZookeeperInstance("application-1", a[3], metadata) : null,
                new UriSpec("{scheme}://{address}:{port}"));
        } else {
            LinkedHashMap<String, String> mode = new LinkedHashMap<>();
            mode.put("description", "job");
            run(client, a, LinkedHashMap.class, mode, null);
        }
        client.close();
    }

    static <T> void run(CuratorFramework client, String[] a, Class<T> type, T payload, UriSpec uri) throws Exception {
        ServiceDiscovery<T> discovery = ServiceDiscoveryBuilder.builder(type).client(client).basePath(a[2])
            .serializer(new JsonInstanceSerializer<>(type)).build();
        discovery.start();
        if (a.length > 3) {
            discovery.registerService(ServiceInstance.<T>builder().name(a[3]).id(a[4]).address(a[5])
                .port(Integer.parseInt(a[6])).payload(payload).uriSpec(uri).build());
            while (System.in.read() >= 0) { }
        } else {
            for (String name : discovery.queryForNames())
                for (ServiceInstance<T> i : discovery.queryForInstances(name))
                    System.out.println(i.getName() + " " + i.getId() + " "
                        + (i.getUriSpec() == null ? i.getAddress() + ":" + i.getPort() : i.buildUriSpec())
                        + " " + i.getServiceType() + " " + i.isEnabled() + " " + i.getPayload());
        }
        discovery.close();
    }
}

/** Spring Cloud's payload, from its documented shape. */
class ZookeeperInstance {
    @JsonProperty public String id;
    @JsonProperty public String name;
    @JsonProperty public Map<String, String> metadata;

    ZookeeperInstance() { }

    ZookeeperInstance(String id, String name, Map<String, String> metadata) {
        this.id = id;
        this.name = name;
        this.metadata = metadata;
    }

    @Override public String toString() {
        return id + "/" + name + "/" + metadata;
    }
}
