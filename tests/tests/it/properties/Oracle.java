import java.io.IOException;
import java.io.InputStreamReader;
import java.io.Reader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Properties;
import java.util.TreeMap;

/** Prints what java.util.Properties reads in each file, in hexadecimal UTF-16 units: a line "file", then "key=value" lines. */
class Oracle {
    public static void main(String[] files) throws IOException {
        StringBuilder out = new StringBuilder();
        for (String file : files) {
            out.append("file\n");
            Properties read = new Properties();
            try (Reader reader = new InputStreamReader(Files.newInputStream(Path.of(file)), StandardCharsets.UTF_8)) {
                read.load(reader);
                TreeMap<String, String> sorted = new TreeMap<>();
                read.forEach((key, value) -> sorted.put(hex((String) key), hex((String) value)));
                sorted.forEach((key, value) -> out.append(key).append('=').append(value).append('\n'));
            } catch (IllegalArgumentException malformed) {
                out.append("malformed\n");
            }
        }
        System.out.print(out);
    }

    private static String hex(String text) {
        StringBuilder out = new StringBuilder();
        text.chars().forEach(unit -> out.append(String.format("%04x", unit)));
        return out.toString();
    }
}
