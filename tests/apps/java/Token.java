// Java with keys of a token, by SunPKCS11: a TLS server, a TLS client, and threads that sign.
//
//   java Token list                            the aliases of private keys, one a line
//   java Token serve PORT ALIAS CA.pem         a server that wants a certificate of its clients, and says whose it got
//   java Token ask PORT ALIAS|- CA.pem [TLS]   a client; prints the version, the server's subject, and what it said
//   java Token threads THREADS EACH            each thread makes so many signatures, by turns with each key, and verifies them
//   java Token handshakes THREADS EACH PORT CA.pem   each thread makes so many full handshakes, as a client without a key
//   java Token gcm                             a key of a session, and AES-GCM with 12 zero bytes; prints why that is refused

import java.io.FileInputStream;
import java.net.InetAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.Principal;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.security.Signature;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLServerSocket;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509ExtendedKeyManager;

public final class Token {
    public static void main(String[] args) throws Exception {
        KeyStore store = KeyStore.getInstance("PKCS11");
        store.load(null, "x".toCharArray());
        switch (args[0]) {
            case "list" -> Collections.list(store.aliases()).forEach(System.out::println);
            case "serve" -> serve(store, Integer.parseInt(args[1]), args[2], args[3]);
            case "ask" -> System.out.print(
                ask(context(store, args[2], args[3]), Integer.parseInt(args[1]), args.length > 4 ? args[4] : "TLSv1.3"));
            case "threads" -> {
                List<String> names = Collections.list(store.aliases());
                int good = together(Integer.parseInt(args[1]), Integer.parseInt(args[2]),
                    (thread, i) -> signs(store, names.get((thread + i) % names.size()), thread + " " + i));
                System.out.println(good + " good signatures");
            }
            case "handshakes" -> {
                int port = Integer.parseInt(args[3]);
                int good = together(Integer.parseInt(args[1]), Integer.parseInt(args[2]),
                    (thread, i) -> shakesHands(store, port, args[4], i % 2 == 0 ? "TLSv1.2" : "TLSv1.3"));
                System.out.println(good + " good handshakes");
            }
            case "gcm" -> gcm();
            default -> throw new IllegalArgumentException(args[0]);
        }
    }

    /** One key of the store, whatever the other end likes best. */
    private static final class One extends X509ExtendedKeyManager {
        private final X509ExtendedKeyManager all;
        private final String alias;

        One(X509ExtendedKeyManager all, String alias) {
            this.all = all;
            this.alias = alias;
        }

        private String chosen(String type) {
            return getPrivateKey(alias).getAlgorithm().equals(type) ? alias : null;
        }

        @Override
        public String chooseEngineServerAlias(String type, Principal[] issuers, javax.net.ssl.SSLEngine engine) {
            return chosen(type);
        }

        @Override
        public String chooseServerAlias(String type, Principal[] issuers, Socket socket) {
            return chosen(type);
        }

        @Override
        public String chooseClientAlias(String[] types, Principal[] issuers, Socket socket) {
            for (String type : types) {
                if (chosen(type) != null) {
                    return alias;
                }
            }
            return null;
        }

        @Override
        public String[] getServerAliases(String type, Principal[] issuers) {
            return new String[] {alias};
        }

        @Override
        public String[] getClientAliases(String type, Principal[] issuers) {
            return new String[] {alias};
        }

        @Override
        public X509Certificate[] getCertificateChain(String name) {
            return all.getCertificateChain(name);
        }

        @Override
        public PrivateKey getPrivateKey(String name) {
            return all.getPrivateKey(name);
        }
    }

    private static SSLContext context(KeyStore store, String alias, String ca) throws Exception {
        KeyManager[] keys = null;
        if (!alias.equals("-")) {
            KeyManagerFactory factory = KeyManagerFactory.getInstance("SunX509");
            factory.init(store, "x".toCharArray());
            keys = new KeyManager[] {new One((X509ExtendedKeyManager) factory.getKeyManagers()[0], alias)};
        }
        KeyStore trusted = KeyStore.getInstance("PKCS12");
        trusted.load(null, null);
        try (FileInputStream file = new FileInputStream(ca)) {
            trusted.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
        trust.init(trusted);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys, trust.getTrustManagers(), null);
        return context;
    }

    private static void serve(KeyStore store, int port, String alias, String ca) throws Exception {
        SSLContext context = context(store, alias, ca);
        SSLServerSocket listener = (SSLServerSocket) context.getServerSocketFactory()
            .createServerSocket(port, 128, InetAddress.getByName("127.0.0.1"));
        listener.setWantClientAuth(true);
        ExecutorService workers = Executors.newCachedThreadPool();
        while (true) {
            SSLSocket socket = (SSLSocket) listener.accept();
            workers.submit(() -> answer(socket));
        }
    }

    private static void answer(SSLSocket socket) {
        try (socket) {
            byte[] asked = new byte[4096];
            if (socket.getInputStream().read(asked) < 0) {
                return;
            }
            String who;
            try {
                who = socket.getSession().getPeerPrincipal().getName();
            } catch (javax.net.ssl.SSLPeerUnverifiedException nobody) {
                who = "nobody";
            }
            String answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: " + who.length() + "\r\n\r\n" + who;
            socket.getOutputStream().write(answer.getBytes(StandardCharsets.ISO_8859_1));
        } catch (Exception error) {
            System.err.println(error);
        }
    }

    private static String ask(SSLContext context, int port, String version) throws Exception {
        SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket("localhost", port);
        try (socket) {
            SSLParameters parameters = socket.getSSLParameters();
            parameters.setEndpointIdentificationAlgorithm("HTTPS");
            socket.setSSLParameters(parameters);
            socket.setEnabledProtocols(new String[] {version});
            socket.startHandshake();
            String who = socket.getSession().getProtocol() + ", server " + socket.getSession().getPeerPrincipal() + "\n";
            socket.getOutputStream().write("GET / HTTP/1.0\r\n\r\n".getBytes(StandardCharsets.ISO_8859_1));
            return who + new String(socket.getInputStream().readAllBytes(), StandardCharsets.ISO_8859_1) + "\n";
        }
    }

    private interface Step {
        boolean isGood(int thread, int i) throws Exception;
    }

    /** How many steps are good of threads that begin together. */
    private static int together(int threads, int each, Step step) throws Exception {
        CyclicBarrier together = new CyclicBarrier(threads);
        List<Callable<Integer>> work = new ArrayList<>();
        for (int thread = 0; thread < threads; thread++) {
            int number = thread;
            work.add(() -> {
                together.await();
                int good = 0;
                for (int i = 0; i < each; i++) {
                    good += step.isGood(number, i) ? 1 : 0;
                }
                return good;
            });
        }
        ExecutorService workers = Executors.newFixedThreadPool(threads);
        int good = 0;
        for (Future<Integer> done : workers.invokeAll(work)) {
            good += done.get();
        }
        workers.shutdown();
        return good;
    }

    /** With a context of its own, so that no session is resumed. */
    private static boolean shakesHands(KeyStore store, int port, String ca, String version) throws Exception {
        try {
            return ask(context(store, "-", ca), port, version).startsWith(version + ", server CN=localhost");
        } catch (java.io.IOException lost) {
            System.err.println(lost);
            return false;
        }
    }

    private static void gcm() throws Exception {
        java.security.Provider provider = java.security.Security.getProvider("SunPKCS11-akv");
        javax.crypto.KeyGenerator generator = javax.crypto.KeyGenerator.getInstance("AES", provider);
        generator.init(256);
        javax.crypto.Cipher cipher = javax.crypto.Cipher.getInstance("AES/GCM/NoPadding", provider);
        try {
            cipher.init(javax.crypto.Cipher.ENCRYPT_MODE, generator.generateKey(), new javax.crypto.spec.GCMParameterSpec(128, new byte[12]));
            cipher.doFinal(new byte[16]);
            System.out.println("it is not refused");
        } catch (Exception refused) {
            for (Throwable cause = refused; cause != null; cause = cause.getCause()) {
                System.out.println(cause);
            }
        }
    }

    private static boolean signs(KeyStore store, String alias, String message) throws Exception {
        PrivateKey key = (PrivateKey) store.getKey(alias, null);
        PublicKey of = store.getCertificate(alias).getPublicKey();
        String algorithm = key.getAlgorithm().equals("EC") ? "SHA256withECDSA" : "SHA256withRSA";
        byte[] data = message.getBytes(StandardCharsets.UTF_8);
        Signature signer = Signature.getInstance(algorithm);
        signer.initSign(key);
        signer.update(data);
        byte[] signature = signer.sign();
        // By Java itself.
        Signature verifier = Signature.getInstance(algorithm, of.getAlgorithm().equals("EC") ? "SunEC" : "SunRsaSign");
        verifier.initVerify(of);
        verifier.update(data);
        return verifier.verify(signature);
    }
}
