package cli

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/stavily/stavily/hub/api"
	"github.com/stavily/stavily/protocol"
	"github.com/stavily/stavily/protocol/bundle"
)

// bundleCommand is "stavily bundle".
func bundleCommand(c *connection) *cobra.Command {
	cmd := &cobra.Command{
		Use: "bundle", Short: "Carry what is for a site by hand, and take what its agents have to say",
		Long: "Carry what is for a site by hand, and take what its agents have to say: for devices without a\n" +
			"line. On the device, \"stavily-edge import FILE\" takes a bundle and \"stavily-edge export FILE\"\n" +
			"makes one. Twice, or an older one after a newer, changes nothing.",
	}
	var site, agent string
	export := &cobra.Command{
		Use: "export FILE", Short: "Write what the agents of a site are to have", Args: cobra.ExactArgs(1),
		Example: "  stavily bundle export --site plant-7 /media/stick/plant-7.bundle",
		RunE: func(cmd *cobra.Command, args []string) error {
			if site == "" {
				return usage(cmd, fmt.Errorf("want --site"))
			}
			client, err := c.client()
			if err != nil {
				return err
			}
			shelf, err := exportTo(args[0], func(to io.Writer) error {
				return client.ExportBundle(cmd.Context(), protocol.Site(site), protocol.AgentName(agent), to)
			})
			if err != nil {
				return err
			}
			return c.print(cmd.OutOrStdout(), shelf.Header, func(w io.Writer) { showBundle(w, args[0], shelf) })
		},
	}
	export.Flags().StringVar(&site, "site", "", "the site (required)")
	export.Flags().StringVar(&agent, "agent", "", "only this agent of it")
	take := &cobra.Command{
		Use: "import FILE", Short: "Take what an agent has exported", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := c.client()
			if err != nil {
				return err
			}
			file, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer file.Close()
			out, err := client.ImportBundle(cmd.Context(), file)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			return c.print(cmd.OutOrStdout(), out, func(w io.Writer) { showImported(w, out) })
		},
	}
	cmd.AddCommand(export, take)
	return cmd
}

// exportTo has a bundle written to a file, and reads it back: the medium may be a bad one.
func exportTo(path string, write func(io.Writer) error) (shelf *bundle.Shelf, err error) {
	err = wholeFile(path, func(file *os.File) error {
		if err := write(file); err != nil {
			return err
		}
		if err := file.Sync(); err != nil {
			return err
		}
		if shelf, err = bundle.Open(file); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		return nil
	})
	return shelf, err
}

// wholeFile has a file written that appears whole or not at all. It is there to be written to
// before anything else happens.
func wholeFile(path string, write func(*os.File) error) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		_ = file.Close()
		if err != nil {
			_ = os.Remove(file.Name())
		}
	}()
	if err := write(file); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}

func showBundle(w io.Writer, path string, s *bundle.Shelf) {
	count := map[bundle.Kind]int{}
	size := int64(0)
	for _, e := range s.Entries {
		count[e.Kind]++
		size += e.Size
	}
	row(w, "bundle", path, fmt.Sprintf("%d bytes for site %s", size, s.Header.Site))
	row(w, "documents", count[bundle.Desired])
	row(w, "files", count[bundle.File])
	row(w, "secrets", fmt.Sprintf("%d sets, sealed to their devices", count[bundle.Secrets]))
	row(w, "next", "on the device: stavily-edge import "+filepath.Base(path))
}

func showImported(w io.Writer, out api.BundleImported) {
	row(w, "agent", out.Agent)
	row(w, "records", fmt.Sprintf("%d in the bundle, %d new", out.Records, out.New))
	row(w, "next", fmt.Sprintf("the acknowledgements go with: stavily bundle export --site %s FILE",
		out.Agent.Site))
}
